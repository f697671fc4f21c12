variable "project" {
  description = "Id of an existing project with billing."
  type        = string
}

variable "region" {
  description = "Everything lies in one region, datasets and buckets included: BigQuery loads only from there."
  type        = string
  default     = "europe-west1"
}

variable "airbyte_host" {
  description = "Name under which Airbyte is reached, e.g. airbyte.example.com. Its DNS records are outputs."
  type        = string
}

variable "composer_image" {
  description = "Managed Airflow (Gen 3). Compare the image's packages first: elt doctor --packages."
  type        = string
  default     = "composer-3-airflow-3.3.1-build.0"
}

variable "airbyte_users" {
  description = "Who may open Airbyte's web UI, e.g. group:data@example.com."
  type        = set(string)
  default     = []
}

variable "airbyte_backend_service" {
  description = "Backend service that GKE made for Airbyte; known after the Gateway is up, empty before. See README.md."
  type        = string
  default     = ""
}

variable "control_plane_networks" {
  description = "CIDR ranges from which kubectl may reach the cluster."
  type        = set(string)
  default     = []
}

variable "database_password_version" {
  description = "Raise it to have a new password for Airbyte's database."
  type        = number
  default     = 1
}
