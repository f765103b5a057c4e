"""One call, several providers: who is asked, for how long, and who is asked next."""
