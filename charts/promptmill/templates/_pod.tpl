{{- define "promptmill.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "promptmill.labels" -}}
app.kubernetes.io/name: promptmill
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "promptmill.pod" -}}
{{- $root := .root -}}
metadata:
  labels:
    {{- include "promptmill.labels" . | nindent 4 }}
  annotations:
    checksum/catalog: {{ $root.Values.catalog | sha256sum }}
    {{- if and $root.Values.metrics.annotations .metrics }}
    prometheus.io/scrape: "true"
    prometheus.io/port: {{ $root.Values.metrics.port | quote }}
    {{- end }}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: {{ add (.grace | default 30) 5 }}
  {{- with .restart }}
  restartPolicy: {{ . }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    fsGroup: 10001
    seccompProfile: {type: RuntimeDefault}
  containers:
    - name: {{ .part }}
      image: "{{ $root.Values.image.repository }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}"
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: {{ toJson .command }}
      envFrom:
        - secretRef: {name: {{ $root.Values.existingSecret | quote }}}
      env:
        - {name: PROMPTMILL_HOME, value: /var/lib/promptmill}
        - {name: PROMPTMILL_READY_FILE, value: /tmp/ready}
        - {name: PROMPTMILL_GRACE_S, value: {{ .grace | default 30 | quote }}}
        {{- if .metrics }}
        - {name: PROMPTMILL_METRICS_PORT, value: {{ $root.Values.metrics.port | quote }}}
        {{- end }}
        {{- if $root.Values.catalog }}
        - {name: PROMPTMILL_CATALOG, value: /etc/promptmill-catalog/catalog.toml}
        {{- end }}
        {{- range $name, $value := $root.Values.env }}
        - {name: {{ $name }}, value: {{ $value | quote }}}
        {{- end }}
      {{- if .port }}
      ports:
        - {name: http, containerPort: {{ .port }}}
      livenessProbe:
        httpGet: {path: /health/live, port: http}
        {{- toYaml $root.Values.probes | nindent 8 }}
      readinessProbe:
        httpGet: {path: /health/ready, port: http}
        periodSeconds: 5
        timeoutSeconds: 3
      {{- else if .metrics }}
      ports:
        - {name: metrics, containerPort: {{ $root.Values.metrics.port }}}
      # Long enough for a start: it answers as soon as the process is built.
      livenessProbe:
        httpGet: {path: /metrics, port: metrics}
        initialDelaySeconds: 30
        {{- toYaml $root.Values.probes | nindent 8 }}
      {{- end }}
      {{- if .readyFile }}
      readinessProbe:
        exec: {command: [test, -e, /tmp/ready]}
        periodSeconds: 5
      {{- end }}
      {{- with .resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: home, mountPath: /var/lib/promptmill}
        - {name: tmp, mountPath: /tmp}
        {{- if $root.Values.catalog }}
        - {name: catalog, mountPath: /etc/promptmill-catalog, readOnly: true}
        {{- end }}
  volumes:
    - {name: home, emptyDir: {}}
    - {name: tmp, emptyDir: {}}
    {{- if $root.Values.catalog }}
    - {name: catalog, configMap: {name: {{ include "promptmill.name" $root }}-catalog}}
    {{- end }}
  {{- with $root.Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "promptmill.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "promptmill.name" .root }}-{{ .part }}
  labels:
    {{- include "promptmill.labels" . | nindent 4 }}
spec:
  {{- if not (kindIs "invalid" .replicas) }}
  replicas: {{ .replicas }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "promptmill.labels" . | nindent 6 }}
  template:
    {{- include "promptmill.pod" . | nindent 4 }}
{{- end }}

{{- define "promptmill.disruption" -}}
{{- if .root.Values.disruption.enabled }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "promptmill.name" .root }}-{{ .part }}
  labels:
    {{- include "promptmill.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .root.Values.disruption.maxUnavailable }}
  selector:
    matchLabels:
      {{- include "promptmill.labels" . | nindent 6 }}
{{- end }}
{{- end }}
