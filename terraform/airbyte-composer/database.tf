# Airbyte's own database. The password is made here and goes to Cloud SQL and Secret Manager only: ephemeral values and
# write-only arguments do not enter plan or state.

ephemeral "random_password" "airbyte" {
  length  = 32
  special = false
}

resource "google_sql_database_instance" "airbyte" {
  name                = "airbyte"
  region              = var.region
  database_version    = "POSTGRES_16"
  deletion_protection = true

  settings {
    tier              = "db-custom-2-7680"
    edition           = "ENTERPRISE"
    availability_type = "REGIONAL"

    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.elt.id
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
    }
  }

  depends_on = [google_service_networking_connection.sql]
}

resource "google_sql_database" "airbyte" {
  name     = "airbyte"
  instance = google_sql_database_instance.airbyte.name
}

resource "google_sql_user" "airbyte" {
  name                = "airbyte"
  instance            = google_sql_database_instance.airbyte.name
  password_wo         = ephemeral.random_password.airbyte.result
  password_wo_version = var.database_password_version
}

resource "google_secret_manager_secret" "airbyte_database" {
  secret_id = "airbyte-database"

  replication {
    auto {}
  }

  depends_on = [google_project_service.used]
}

resource "google_secret_manager_secret_version" "airbyte_database" {
  secret                 = google_secret_manager_secret.airbyte_database.id
  secret_data_wo         = ephemeral.random_password.airbyte.result
  secret_data_wo_version = var.database_password_version
}

resource "google_secret_manager_secret_iam_member" "airbyte_database" {
  secret_id = google_secret_manager_secret.airbyte_database.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.airbyte.member
}
