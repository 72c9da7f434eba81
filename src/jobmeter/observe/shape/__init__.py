"""How the columns of a job become a record by rules as AUDITOR's files have them.

Used by the job sources whose entries are columns of text. What a column is called and how its text is read is theirs.
"""
