# google_iap_brand and google_iap_client are gone: the API behind them was shut down. IAP is switched on by
# kubernetes/gateway.yaml with an OAuth client that Google manages, and there is no client secret to keep.
#
# Who gets through is said for the one backend service, which GKE makes and names once the Gateway is up.

locals {
  through_iap = var.airbyte_backend_service == "" ? [] : concat(
    ["serviceAccount:elt-composer@${var.project}.iam.gserviceaccount.com"], tolist(var.airbyte_users),
  )
}

resource "google_iap_web_backend_service_iam_member" "airbyte" {
  for_each            = toset(local.through_iap)
  web_backend_service = var.airbyte_backend_service
  role                = "roles/iap.httpsResourceAccessor"
  member              = each.value
  depends_on          = [google_service_account.composer]
}
