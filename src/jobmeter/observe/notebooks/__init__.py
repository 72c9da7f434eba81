"""Who has a notebook open: by pods of Kubernetes, by JupyterHub, or by jobs of HTCondor."""
