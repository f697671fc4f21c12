terraform {
  required_version = ">= 1.11" # write-only arguments: no password in the state

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.0"
    }
    random = {
      source  = "hashicorp/random"
      version = ">= 3.7.1" # the first with ephemeral passwords
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}
