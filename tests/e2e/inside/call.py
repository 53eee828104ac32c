"""Runs in a pod: one call of the API. call.py SERVICE METHOD PATH [JSON] prints {"status", "at", "took", "body"}."""

import json
import os
import sys
import time

import httpx2

PORTS = {"webhook": 8080, "search": 8081, "reconciler": 8084}

service, method, path, *rest = sys.argv[1:]
headers = {"Authorization": f"Bearer {os.environ['BLOOMWEAVER_API_KEY']}"}
url = f"http://{os.environ['RELEASE']}-{service}:{PORTS[service]}{path}"
body = json.loads(rest[0]) if rest else None
with httpx2.Client(timeout=300.0) as client:
    began, at = time.monotonic(), time.time()
    answer = client.request(method, url, json=body, headers=headers)
    told = answer.json() if "json" in answer.headers.get("content-type", "") else answer.text
    print(json.dumps({"status": answer.status_code, "at": at, "took": time.monotonic() - began, "body": told}))
