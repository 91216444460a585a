"""Starting jobs as local processes, feeding and relaying them, keeping their output within its cap."""
