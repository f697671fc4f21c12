output "dns_records" {
  description = "To be made where the domain is kept: the address, and the proof that the domain is ours."
  value = {
    address = { name = var.airbyte_host, type = "A", data = google_compute_global_address.airbyte.address }
    proof   = google_certificate_manager_dns_authorization.airbyte.dns_resource_record
  }
}

output "dags_folder" {
  description = "DAG files go there."
  value       = google_composer_environment.elt.config[0].dag_gcs_prefix
}

output "airbyte_database" {
  description = "For Airbyte's Helm values; the password is in Secret Manager."
  value = {
    host   = google_sql_database_instance.airbyte.private_ip_address
    name   = google_sql_database.airbyte.name
    user   = google_sql_user.airbyte.name
    secret = google_secret_manager_secret.airbyte_database.id
  }
}
