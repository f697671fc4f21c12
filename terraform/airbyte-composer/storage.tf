locals {
  # Bucket -> days after which what lies there is of no use any more.
  buckets = { airbyte-logs = 90, airbyte-staging = 7, elt-stage = 30 }

  # Role of each account on each bucket; names of buckets and accounts as in this folder.
  bucket_roles = {
    "airbyte-logs"    = { account = google_service_account.airbyte.member, role = "roles/storage.objectUser" }
    "airbyte-staging" = { account = google_service_account.airbyte.member, role = "roles/storage.objectUser" }
    "elt-stage"       = { account = google_service_account.composer.member, role = "roles/storage.objectUser" }
  }
}

resource "google_storage_bucket" "elt" {
  for_each                    = local.buckets
  name                        = "${var.project}-${each.key}"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  lifecycle_rule {
    condition {
      age = each.value
    }
    action {
      type = "Delete"
    }
  }

  # Half an upload that nobody finished.
  lifecycle_rule {
    condition {
      age = 1
    }
    action {
      type = "AbortIncompleteMultipartUpload"
    }
  }
}

resource "google_storage_bucket_iam_member" "elt" {
  for_each = local.bucket_roles
  bucket   = google_storage_bucket.elt[each.key].name
  role     = each.value.role
  member   = each.value.account
}
