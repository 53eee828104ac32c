{{/* Which process answers which path; the longest prefix wins. */}}
{{- define "bloomweaver.routes" -}}
- {path: /v1/search, component: search, port: 8081}
- {path: /v1/embeddings, component: search, port: 8081}
- {path: /v1/models, component: search, port: 8081}
- {path: /v1/audit, component: reconciler, port: 8084}
- {path: /v1, component: webhook, port: 8080}
- {path: /docs, component: webhook, port: 8080}
- {path: /openapi.json, component: webhook, port: 8080}
{{- end -}}
