"""Why a job took what it took: facts of a record, and sentences about them."""
