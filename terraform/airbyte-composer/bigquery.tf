locals {
  # raw: Airbyte writes, Composer transforms. mart: Composer. _elt: checkpoints and receipts of airflow-elt-provider.
  datasets = ["raw", "mart", "_elt"]

  editors = {
    "raw/airbyte"   = google_service_account.airbyte.member
    "raw/composer"  = google_service_account.composer.member
    "mart/composer" = google_service_account.composer.member
    "_elt/composer" = google_service_account.composer.member
  }
}

resource "google_bigquery_dataset" "elt" {
  for_each   = toset(local.datasets)
  dataset_id = each.value
  location   = var.region
  depends_on = [google_project_service.used]
}

resource "google_bigquery_dataset_iam_member" "editor" {
  for_each   = local.editors
  dataset_id = google_bigquery_dataset.elt[split("/", each.key)[0]].dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = each.value
}

# Running jobs is a right in the project; it lets nobody read anything.
resource "google_project_iam_member" "runs_jobs" {
  for_each = { airbyte = google_service_account.airbyte.member, composer = google_service_account.composer.member }
  project  = var.project
  role     = "roles/bigquery.jobUser"
  member   = each.value
}
