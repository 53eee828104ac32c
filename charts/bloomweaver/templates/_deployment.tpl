{{/*
A Deployment of one of our processes:
(dict "root" $ "component" "webhook" "name" "webhook" "port" 8080 "settings" .Values.webhook "env" (list …)
      "models" true "sealing" true "scaled" false "image" "" "account" "" "grpc" 0)
name: of the Deployment behind the release's; component: its label and its image. scaled: somebody else sets replicas.
account: a service account of its own, whose token it needs; there is never more than one such pod. grpc: a further port.
*/}}
{{- define "bloomweaver.deployment" -}}
{{- $root := .root -}}
{{- $settings := .settings -}}
{{- $identity := dict "root" $root "component" .component -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "bloomweaver.fullname" $root }}-{{ .name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "bloomweaver.labels" $identity | nindent 4 }}
    bloomweaver.dev/process: {{ .name }}
spec:
  {{- if not .scaled }}
  replicas: {{ $settings.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  selector:
    matchLabels:
      {{- include "bloomweaver.selector" $identity | nindent 6 }}
      bloomweaver.dev/process: {{ .name }}
  strategy:
    {{- if .account }}
    type: Recreate
    {{- else }}
    rollingUpdate:
      maxSurge: 1
      maxUnavailable: 0
    {{- end }}
  template:
    metadata:
      labels:
        {{- include "bloomweaver.labels" $identity | nindent 8 }}
        bloomweaver.dev/process: {{ .name }}
        {{- with $settings.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $settings.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ .account | default (include "bloomweaver.serviceAccount" $root) }}
      automountServiceAccountToken: {{ ternary true false (not (empty .account)) }}
      enableServiceLinks: false
      # What the process takes, its last cut-off, and what comes before SIGTERM.
      terminationGracePeriodSeconds: {{ add $settings.graceSeconds (default 0 $settings.preStopSeconds) 10 }}
      securityContext:
        {{- include "bloomweaver.podSecurity" $root | nindent 8 }}
      {{- with include "bloomweaver.placement" (dict "root" $root "settings" $settings) }}
      {{- . | nindent 6 }}
      {{- end }}
      {{- if $settings.topologySpread }}
      topologySpreadConstraints:
        {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
        - maxSkew: 1
          topologyKey: {{ . }}
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "bloomweaver.selector" $identity | nindent 14 }}
        {{- end }}
      {{- end }}
      containers:
        - name: {{ .component }}
          image: {{ .image | default (include "bloomweaver.image" (dict "root" $root "image" .component)) }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          securityContext:
            {{- include "bloomweaver.containerSecurity" $root | nindent 12 }}
          env:
            - name: BLOOMWEAVER_PORT
              value: {{ .port | quote }}
            - name: BLOOMWEAVER_LOG_LEVEL
              value: {{ $root.Values.log.level }}
            - name: BLOOMWEAVER_GRACE_SECONDS
              value: {{ $settings.graceSeconds | quote }}
            {{- include "bloomweaver.storeEnv" (dict "root" $root) | nindent 12 }}
            {{- if and .models $root.Values.modelFiles.existingClaim }}
            - name: BLOOMWEAVER_MODELS
              value: /models
            {{- end }}
            {{- if .sealing }}
            - name: BLOOMWEAVER_SECRET_FILE
              value: /run/secrets/bloomweaver-sealing/sealing
            {{- end }}
            {{- with $root.Values.tracing.endpoint }}
            - name: OTEL_EXPORTER_OTLP_ENDPOINT
              value: {{ . | quote }}
            {{- end }}
            {{- with .env }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
            {{- with $settings.env }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          ports:
            - name: http
              containerPort: {{ .port }}
            {{- with .grpc }}
            - name: grpc
              containerPort: {{ . }}
            {{- end }}
          # It answers from its first moment on, and asks no store, so an outage restarts nobody.
          livenessProbe:
            httpGet: {path: /healthz, port: http}
            initialDelaySeconds: 15
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: {path: /readyz, port: http}
            periodSeconds: 3
            timeoutSeconds: 5
            failureThreshold: 2
          {{- with $settings.preStopSeconds }}
          lifecycle:
            preStop:
              sleep:
                seconds: {{ . }}
          {{- end }}
          resources:
            {{- toYaml $settings.resources | nindent 12 }}
          volumeMounts:
            {{- include "bloomweaver.mounts" (dict "root" $root "models" .models "sealing" .sealing) | nindent 12 }}
      volumes:
        {{- include "bloomweaver.volumes" (dict "root" $root "models" .models "sealing" .sealing) | nindent 8 }}
{{- end -}}

{{/* (dict "root" $ "component" "webhook" "port" 8080). */}}
{{- define "bloomweaver.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "bloomweaver.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "bloomweaver.labels" . | nindent 4 }}
spec:
  type: ClusterIP
  selector:
    {{- include "bloomweaver.selector" . | nindent 4 }}
  ports:
    - name: http
      port: {{ .port }}
      targetPort: http
      appProtocol: http
{{- end -}}

{{/* (dict "root" $ "component" "webhook" "settings" .Values.webhook). */}}
{{- define "bloomweaver.hpa" -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "bloomweaver.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "bloomweaver.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "bloomweaver.fullname" .root }}-{{ .component }}
  minReplicas: {{ .settings.autoscaling.minReplicas }}
  maxReplicas: {{ .settings.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ .settings.autoscaling.targetCPUUtilizationPercentage }}
{{- end -}}

{{- define "bloomweaver.pdb" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "bloomweaver.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "bloomweaver.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .settings.podDisruptionBudget.maxUnavailable }}
  # Pods that are not ready protect nothing and would only hold up a drain.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "bloomweaver.selector" . | nindent 6 }}
{{- end -}}
