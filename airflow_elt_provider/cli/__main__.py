"""``python -m airflow_elt_provider.cli`` is ``elt``."""

import sys

from airflow_elt_provider.cli.main import main

sys.exit(main())
