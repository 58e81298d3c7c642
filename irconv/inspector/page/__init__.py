"""The page's template, style and script; `irconv.inspector.html` puts them together."""
