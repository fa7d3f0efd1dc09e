"""Jobs: the queue, the worker that empties it, and what it leaves; shared by the page, the node and bulk."""
