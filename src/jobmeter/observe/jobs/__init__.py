"""Which jobs are on this node: the folders of batch systems among the control groups, and what their names say."""
