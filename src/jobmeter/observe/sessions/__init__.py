"""Who is logged in: by the user accounting files, by `who` and `last`, or by logind."""
