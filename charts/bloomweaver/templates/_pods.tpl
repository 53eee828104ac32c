{{/* What all pods have in common. Nothing here needs the API server, so no token is mounted. */}}
{{- define "bloomweaver.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "bloomweaver.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* (dict "root" $ "owner" true): owner, for what changes the schema. */}}
{{- define "bloomweaver.storeEnv" -}}
{{- $stores := .root.Values.stores -}}
- name: BLOOMWEAVER_STORE
  value: {{ ternary (include "bloomweaver.ownerStore" .root) (include "bloomweaver.store" .root) (default false .owner) | quote }}
{{- range $name := list "queues" "blobs" "vectors" "cache" }}
{{- with get $stores $name }}
- name: BLOOMWEAVER_{{ upper $name }}
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- if include "bloomweaver.passwordSecret" . }}
- name: BLOOMWEAVER_POSTGRESQL_PASSWORD_FILE
  value: /run/secrets/bloomweaver-store/password
{{- end }}
{{- end -}}

{{/* `NAME KEY` of the secret with the password, or nothing. */}}
{{- define "bloomweaver.passwordSecret" -}}
{{- $stores := .root.Values.stores -}}
{{- if include "bloomweaver.bundled" .root -}}
{{ include "bloomweaver.postgresqlSecret" .root }} {{ ternary "owner" "password" (default false .owner) }}
{{- else if and (default false .owner) $stores.owner.passwordSecret.name -}}
{{ $stores.owner.passwordSecret.name }} {{ $stores.owner.passwordSecret.key }}
{{- else if $stores.passwordSecret.name -}}
{{ $stores.passwordSecret.name }} {{ $stores.passwordSecret.key }}
{{- end -}}
{{- end -}}

{{- define "bloomweaver.volumes" -}}
- name: data
  emptyDir:
    sizeLimit: 1Gi
- name: tmp
  emptyDir:
    sizeLimit: 256Mi
{{- with include "bloomweaver.passwordSecret" . }}
- name: store
  secret:
    secretName: {{ index (splitList " " .) 0 }}
    defaultMode: 0440
    items:
      - key: {{ index (splitList " " .) 1 }}
        path: password
{{- end }}
{{- range .root.Values.stores.secretMounts }}
- name: secret-{{ . }}
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- if and .models .root.Values.modelFiles.existingClaim }}
- name: models
  persistentVolumeClaim:
    claimName: {{ .root.Values.modelFiles.existingClaim }}
    readOnly: true
{{- end }}
{{- if .sealing }}
- name: sealing
  secret:
    secretName: {{ include "bloomweaver.sealingSecret" .root }}
    defaultMode: 0440
    items:
      - key: {{ .root.Values.sealing.key }}
        path: sealing
{{- end }}
{{- end -}}

{{- define "bloomweaver.mounts" -}}
- name: data
  mountPath: /data
- name: tmp
  mountPath: /tmp
{{- if include "bloomweaver.passwordSecret" . }}
- name: store
  mountPath: /run/secrets/bloomweaver-store
  readOnly: true
{{- end }}
{{- range .root.Values.stores.secretMounts }}
- name: secret-{{ . }}
  mountPath: /run/secrets/{{ . }}
  readOnly: true
{{- end }}
{{- if and .models .root.Values.modelFiles.existingClaim }}
- name: models
  mountPath: /models
  readOnly: true
{{- end }}
{{- if .sealing }}
- name: sealing
  mountPath: /run/secrets/bloomweaver-sealing
  readOnly: true
{{- end }}
{{- end -}}

{{/* Pod-level fields that every pod has: (dict "root" $ "settings" .Values.webhook). */}}
{{- define "bloomweaver.placement" -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with .settings.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .settings.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The variables of the pods that the controller makes; it is told their digest, and replaces the pods with it. */}}
{{- define "bloomweaver.podVariables" -}}
{{- $variables := dict "BLOOMWEAVER_STORE" (include "bloomweaver.store" .) "BLOOMWEAVER_LOG_LEVEL" .Values.log.level -}}
{{- range $name := list "queues" "blobs" "vectors" "cache" -}}
{{- with get $.Values.stores $name -}}
{{- $_ := set $variables (printf "BLOOMWEAVER_%s" (upper $name)) . -}}
{{- end -}}
{{- end -}}
{{- toYaml (mergeOverwrite $variables (deepCopy .Values.controller.podVariables)) -}}
{{- end -}}
