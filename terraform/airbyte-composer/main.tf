# Airbyte on GKE behind Identity-Aware Proxy, started from Cloud Composer, with Cloud SQL, Cloud Storage and BigQuery.

locals {
  services = [
    "bigquery.googleapis.com", "certificatemanager.googleapis.com", "composer.googleapis.com", "compute.googleapis.com",
    "container.googleapis.com", "iam.googleapis.com", "iamcredentials.googleapis.com", "iap.googleapis.com",
    "secretmanager.googleapis.com", "servicenetworking.googleapis.com", "sqladmin.googleapis.com",
  ]
}

resource "google_project_service" "used" {
  for_each           = toset(local.services)
  service            = each.value
  disable_on_destroy = false # others in the project may use it
}
