"""Parts of the adapter for botocore."""
