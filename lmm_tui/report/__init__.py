"""Reports: one or several runs as a page for the browser, or as Markdown."""
