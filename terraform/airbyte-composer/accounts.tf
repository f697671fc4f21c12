# Three accounts, no key of any of them.

resource "google_service_account" "nodes" {
  account_id   = "airbyte-nodes"
  display_name = "Nodes of the Airbyte cluster"
}

resource "google_service_account" "airbyte" {
  account_id   = "airbyte"
  display_name = "Airbyte's pods"
}

resource "google_service_account" "composer" {
  account_id   = "elt-composer"
  display_name = "Airflow's workers, triggerers and web server"
}

resource "google_project_iam_member" "nodes" {
  project = var.project
  role    = "roles/container.defaultNodeServiceAccount"
  member  = google_service_account.nodes.member
}

resource "google_project_iam_member" "composer" {
  project = var.project
  role    = "roles/composer.worker"
  member  = google_service_account.composer.member
}

# Airbyte's pods run as the account, without a key: annotate the Kubernetes account airbyte/airbyte-admin with
# iam.gke.io/gcp-service-account.
resource "google_service_account_iam_member" "airbyte_pods" {
  service_account_id = google_service_account.airbyte.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project}.svc.id.goog[airbyte/airbyte-admin]"
  depends_on         = [google_container_cluster.airbyte] # which makes the identity pool
}

# IAP's Google-managed client takes no ID tokens of service accounts: Composer's account signs a JWT for itself.
resource "google_service_account_iam_member" "composer_signs" {
  service_account_id = google_service_account.composer.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = google_service_account.composer.member
}
