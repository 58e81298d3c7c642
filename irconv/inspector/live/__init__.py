"""The live report: the pipeline is edited in the page, and the report drawn anew."""
