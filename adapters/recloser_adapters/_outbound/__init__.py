"""What every client adapter does around an outbound call. It knows no client library."""
