"""What an API server says about pods, how it is asked, and how pods that ended become records.

The job source is `observe/batch/kubernetes.py`.
"""
