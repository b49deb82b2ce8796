{{- define "tracer.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "tracer.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "tracer.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "tracer.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "tracer.selector" -}}
app.kubernetes.io/name: {{ include "tracer.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* A version as labels and tags may have it: a + is allowed in neither. */}}
{{- define "tracer.plain" -}}
{{- . | replace "+" "_" | trunc 63 | trimAll "-_." }}
{{- end }}

{{- define "tracer.labels" -}}
{{ include "tracer.selector" . }}
app.kubernetes.io/version: {{ include "tracer.plain" .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ include "tracer.plain" (printf "%s-%s" .Chart.Name .Chart.Version) }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tracer.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "tracer.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "tracer.image" -}}
{{- if not .Values.image.repository }}
{{- fail "\n\nimage.repository is empty: where is the image? No registry has one for all; build it with `cargo xtask image`, push it, and name it, for example\n  --set image.repository=registry.example.com/tracer" }}
{{- end }}
{{- $name := .Values.image.repository }}
{{- with default .Values.image.registry (.Values.global).imageRegistry }}
{{- $name = printf "%s/%s" (trimSuffix "/" .) $name }}
{{- end }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $name .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $name (default (include "tracer.plain" .Chart.AppVersion) .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Those of the chart and of all charts, each once; a string is a Secret's name. */}}
{{- define "tracer.pullSecrets" -}}
{{- $all := list }}
{{- range concat .Values.imagePullSecrets (default list (.Values.global).imagePullSecrets) }}
{{- $all = append $all (kindIs "string" . | ternary (dict "name" .) .) }}
{{- end }}
{{- with $all | uniq }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "tracer.metricsPath" -}}
{{- default "/metrics" (.Values.settings.web).telemetry_path }}
{{- end }}

{{/* Whether the Prometheus operator scrapes: annotations would make a second job of the
same targets. */}}
{{- define "tracer.monitored" -}}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled }}
{{- fail "\n\npodMonitor.enabled and serviceMonitor.enabled would scrape each node twice: set one of them" }}
{{- end }}
{{- if or .Values.podMonitor.enabled .Values.serviceMonitor.enabled }}yes{{ end }}
{{- end }}

{{/* Of a cluster Helm knows each kind (of `helm template` alone it does not): says what is
missing before the API server does, in words that help. */}}
{{- define "tracer.operator" -}}
{{- $known := .root.Capabilities.APIVersions }}
{{- if and ($known.Has "apps/v1/DaemonSet") (not ($known.Has (printf "monitoring.coreos.com/v1/%s" .kind))) }}
{{- fail (printf "\n\n%s is enabled and this cluster has no kind %s: install the Prometheus operator first, or leave it disabled (a Prometheus without the operator finds the pods by scrapeAnnotations, and loads the rules of files/prometheus by rule_files)" .value .kind) }}
{{- end }}
{{- end }}

{{/* What PodMonitor and ServiceMonitor have in common: `values` are those of one of them. */}}
{{- define "tracer.endpoint" -}}
- port: metrics
  path: {{ include "tracer.metricsPath" .root }}
  interval: {{ .values.interval }}
  scrapeTimeout: {{ .values.scrapeTimeout }}
  {{- if eq .root.Values.web.scheme "https" }}
  scheme: https
  {{- end }}
  # `namespace` of tracer_node_port_info is the Service's.
  honorLabels: true
  relabelings:
    # A node keeps its series when its pod is replaced.
    - sourceLabels: [__meta_kubernetes_pod_node_name]
      targetLabel: instance
    - action: labeldrop
      regex: pod|container|endpoint
  {{- with .values.metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.endpoint }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* With a web config the pages may want a password or a certificate, which the kubelet
does not have: the probes then ask the daemon by its socket. */}}
{{- define "tracer.ready" -}}
{{- if .Values.web.configSecret -}}
exec:
  command: [tracer, health]
{{- else -}}
httpGet:
  path: /readyz
  port: metrics
{{- end }}
{{- end }}

{{- define "tracer.live" -}}
{{- if .Values.web.configSecret -}}
exec:
  command: [tracer, health, --live]
{{- else -}}
httpGet:
  path: /livez
  port: metrics
{{- end }}
{{- end }}
