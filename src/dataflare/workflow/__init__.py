"""From workflow text to plan: read the document, say everything that is wrong with it, freeze the plan."""
