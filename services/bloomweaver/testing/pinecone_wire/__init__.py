"""A Pinecone that misbehaves on order: the wire of one serverless index, served on loopback, made for tests.

    async with serving.serve(service.Service(dimension=8, faults=faults.Faults(lag_seconds=0.2), seed=1)) as url:
        ...  # an adapter, or Pinecone's own client, with url as the host of the index

`description` is what it speaks: the operations of the published API that BloomWeaver uses. `service` holds the index,
`faults` what goes wrong, `conditions` how filters are judged, `serving` the HTTP.
"""
