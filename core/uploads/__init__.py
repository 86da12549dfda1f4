"""Files on their way in: promised, put into quarantine by the client, checked by the worker, claimed by a resource."""
