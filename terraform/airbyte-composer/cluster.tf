resource "google_container_cluster" "airbyte" {
  name                = "airbyte"
  location            = var.region
  enable_autopilot    = true # workload identity comes with it
  network             = google_compute_network.elt.id
  subnetwork          = google_compute_subnetwork.elt.id
  deletion_protection = true

  ip_allocation_policy {
    cluster_secondary_range_name  = "pods"
    services_secondary_range_name = "services"
  }

  private_cluster_config {
    enable_private_nodes = true
  }

  master_authorized_networks_config {
    dynamic "cidr_blocks" {
      for_each = var.control_plane_networks
      content {
        cidr_block = cidr_blocks.value
      }
    }
  }

  # Gateway API: IAP is a GCPBackendPolicy there (kubernetes/gateway.yaml), with a client that Google manages.
  gateway_api_config {
    channel = "CHANNEL_STANDARD"
  }

  release_channel {
    channel = "REGULAR"
  }

  cluster_autoscaling {
    auto_provisioning_defaults {
      service_account = google_service_account.nodes.email
      oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]
    }
  }

  depends_on = [google_project_iam_member.nodes]
}
