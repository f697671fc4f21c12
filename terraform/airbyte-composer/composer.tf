resource "google_composer_environment" "elt" {
  name   = "elt"
  region = var.region

  config {
    environment_size           = "ENVIRONMENT_SIZE_SMALL"
    enable_private_environment = true # no public addresses; out through the NAT
    enable_private_builds_only = false

    node_config {
      network         = google_compute_network.elt.id
      subnetwork      = google_compute_subnetwork.elt.id
      service_account = google_service_account.composer.email
    }

    software_config {
      image_version = var.composer_image

      # Extras and versions stand behind the name. No upper bounds: a pin that disagrees with the image fails.
      pypi_packages = {
        airflow-elt-provider = "[google]"
      }

      airflow_config_overrides = {
        elt-stage = "gs://${google_storage_bucket.elt["elt-stage"].name}/stage"
      }

      # Neither holds a secret: both use the environment's own account.
      env_variables = {
        AIRFLOW_CONN_AIRBYTE_IAP = jsonencode({
          conn_type = "eltairbyte"
          host      = "https://${var.airbyte_host}"
          extra     = { iap_mode = "signed_jwt", iap_audience = "https://${var.airbyte_host}/*" }
        })
        AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT = jsonencode({
          conn_type = "google_cloud_platform"
          extra     = { project = var.project }
        })
      }
    }

    workloads_config {
      scheduler {
        cpu        = 1
        memory_gb  = 4
        storage_gb = 1
        count      = 1
      }

      dag_processor {
        cpu        = 1
        memory_gb  = 4
        storage_gb = 1
        count      = 1
      }

      # Syncs wait here. 1,000 at once for each triggerer ([triggerer] capacity).
      triggerer {
        cpu       = 1
        memory_gb = 2
        count     = 1
      }

      web_server {
        cpu        = 1
        memory_gb  = 4
        storage_gb = 1
      }

      worker {
        cpu        = 2
        memory_gb  = 8
        storage_gb = 10
        min_count  = 1
        max_count  = 3
      }
    }
  }

  depends_on = [google_project_iam_member.composer]
}
