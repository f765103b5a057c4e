"""Parts of the adapter for urllib3, which those for requests and botocore use, too."""
