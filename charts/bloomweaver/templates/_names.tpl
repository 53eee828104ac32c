{{/* Names and labels. */}}
{{- define "bloomweaver.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "bloomweaver.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "bloomweaver.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What never changes: (dict "root" $ "component" "webhook"). */}}
{{- define "bloomweaver.selector" -}}
app.kubernetes.io/name: {{ include "bloomweaver.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "bloomweaver.labels" -}}
{{ include "bloomweaver.selector" . }}
app.kubernetes.io/part-of: bloomweaver
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* (dict "root" $ "image" "webhook"). */}}
{{- define "bloomweaver.image" -}}
{{- $values := .root.Values.image -}}
{{- $digest := get $values.digests .image -}}
{{- if $digest -}}
{{ $values.repository }}/{{ .image }}@{{ $digest }}
{{- else -}}
{{ $values.repository }}/{{ .image }}:{{ $values.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "bloomweaver.bundled" -}}
{{- if not .Values.stores.url -}}true{{- end -}}
{{- end -}}

{{- define "bloomweaver.postgresqlHost" -}}
{{ include "bloomweaver.fullname" . }}-postgresql
{{- end -}}

{{- define "bloomweaver.store" -}}
{{- .Values.stores.url | default (printf "postgresql://bloomweaver@%s:5432/bloomweaver" (include "bloomweaver.postgresqlHost" .)) -}}
{{- end -}}

{{- define "bloomweaver.ownerStore" -}}
{{- if include "bloomweaver.bundled" . -}}
postgresql://bloomweaver_owner@{{ include "bloomweaver.postgresqlHost" . }}:5432/bloomweaver
{{- else -}}
{{- .Values.stores.owner.url | default .Values.stores.url -}}
{{- end -}}
{{- end -}}

{{- define "bloomweaver.postgresqlSecret" -}}
{{- .Values.postgresql.existingSecret | default (include "bloomweaver.postgresqlHost" .) -}}
{{- end -}}

{{- define "bloomweaver.sealingSecret" -}}
{{- .Values.sealing.existingSecret | default (printf "%s-sealing" (include "bloomweaver.fullname" .)) -}}
{{- end -}}

{{- define "bloomweaver.serviceAccount" -}}
{{ include "bloomweaver.fullname" . }}
{{- end -}}

{{/* Secret with the secret variables of the pods that the controller makes, or nothing. */}}
{{- define "bloomweaver.podSecret" -}}
{{- if .Values.controller.podSecret -}}
{{ .Values.controller.podSecret }}
{{- else if and (include "bloomweaver.bundled" .) (not .Values.postgresql.existingSecret) -}}
{{ include "bloomweaver.fullname" . }}-pods
{{- end -}}
{{- end -}}
