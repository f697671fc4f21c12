resource "google_compute_network" "elt" {
  name                    = "elt"
  auto_create_subnetworks = false
  depends_on              = [google_project_service.used]
}

resource "google_compute_subnetwork" "elt" {
  name                     = "elt"
  network                  = google_compute_network.elt.id
  ip_cidr_range            = "10.10.0.0/20"
  private_ip_google_access = true # Cloud Storage and BigQuery without a public address

  secondary_ip_range {
    range_name    = "pods"
    ip_cidr_range = "10.20.0.0/16"
  }

  secondary_ip_range {
    range_name    = "services"
    ip_cidr_range = "10.30.0.0/20"
  }
}

# Outbound only: to the sources that Airbyte reads, and to IAP's public address, where Composer finds Airbyte.
resource "google_compute_router" "elt" {
  name    = "elt"
  network = google_compute_network.elt.id
}

resource "google_compute_router_nat" "elt" {
  name                               = "elt"
  router                             = google_compute_router.elt.name
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "ALL_SUBNETWORKS_ALL_IP_RANGES"
}

# Cloud SQL's private address.
resource "google_compute_global_address" "sql" {
  name          = "elt-sql"
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 20
  network       = google_compute_network.elt.id
}

resource "google_service_networking_connection" "sql" {
  network                 = google_compute_network.elt.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.sql.name]
}

# --- the way in ---

resource "google_compute_global_address" "airbyte" {
  name       = "airbyte"
  depends_on = [google_project_service.used]
}

resource "google_certificate_manager_dns_authorization" "airbyte" {
  name       = "airbyte"
  domain     = var.airbyte_host
  depends_on = [google_project_service.used]
}

resource "google_certificate_manager_certificate" "airbyte" {
  name = "airbyte"

  managed {
    domains            = [var.airbyte_host]
    dns_authorizations = [google_certificate_manager_dns_authorization.airbyte.id]
  }
}

resource "google_certificate_manager_certificate_map" "airbyte" {
  name       = "airbyte" # kubernetes/gateway.yaml names it
  depends_on = [google_project_service.used]
}

resource "google_certificate_manager_certificate_map_entry" "airbyte" {
  name         = "airbyte"
  map          = google_certificate_manager_certificate_map.airbyte.name
  certificates = [google_certificate_manager_certificate.airbyte.id]
  hostname     = var.airbyte_host
}
