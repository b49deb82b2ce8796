{{/* The daemon's file of settings. values.schema.json refuses what is no key or no value;
here what no schema can say is refused in the daemon's place, before a pod crashes of it. */}}
{{- define "tracer.settings" -}}
{{- $settings := deepCopy .Values.settings }}
{{- $taken := dict "kubernetes" "kubernetes.enabled" "pod_evidence" "evidence.pods" "web.listen_address" "web.address and web.port" "web.config_file" "web.configSecret" "node_name" "no value: it is the Node's name" }}
{{- range $key, $value := $taken }}
{{- $section := hasPrefix "web." $key | ternary (default dict $settings.web) $settings }}
{{- if hasKey $section (trimPrefix "web." $key) }}
{{- fail (printf "\n\nsettings.%s has no effect, the chart sets it: use %s" $key $value) }}
{{- end }}
{{- end }}
{{- if and .Values.web.configSecret (eq (toString $settings.socket) "none") }}
{{- fail "\n\nsettings.socket is none, and with web.configSecret the probes ask by the socket: leave one of them out" }}
{{- end }}
{{- /* YAML takes `off` for false. */}}
{{- range list "health_check_gate" "kernel_log" }}
{{- if and (hasKey $settings .) (kindIs "bool" (get $settings .)) }}
{{- $_ := set $settings . "off" }}
{{- end }}
{{- end }}
{{- /* One value stands for a list of one. */}}
{{- range list "interface" "probe_source" "probe_method" }}
{{- if and (hasKey $settings .) (kindIs "string" (get $settings .)) }}
{{- $_ := set $settings . (list (get $settings .)) }}
{{- end }}
{{- end }}
{{- range $part := kindIs "slice" $settings.node_ports | ternary (join "," $settings.node_ports) (toString (default "" $settings.node_ports)) | splitList "," }}
{{- $ends := splitList "-" $part }}
{{- if gt (first $ends | trim | int) (last $ends | trim | int) }}
{{- fail (printf "\n\nsettings.node_ports: the range `%s` runs backwards" $part) }}
{{- end }}
{{- end }}
{{- $ms := dict }}
{{- range tuple (list "handshake_timeout" "5s" "100ms" "10m") (list "idle_after" "5s" "100ms" "1h") (list "expire_after" "1h" "10s" "7days") }}
{{- $key := index . 0 }}
{{- $value := default (index . 1) (get $settings $key) }}
{{- $n := include "tracer.milliseconds" $value | int64 }}
{{- if or (lt $n (include "tracer.milliseconds" (index . 2) | int64)) (gt $n (include "tracer.milliseconds" (index . 3) | int64)) }}
{{- fail (printf "\n\nsettings.%s: `%s` is not between %s and %s" $key $value (index . 2) (index . 3)) }}
{{- end }}
{{- $_ := set $ms $key $n }}
{{- end }}
{{- if lt $ms.expire_after (max $ms.idle_after $ms.handshake_timeout) }}
{{- fail "\n\nsettings.expire_after is below idle_after or handshake_timeout" }}
{{- end }}
{{- toYaml $settings }}
{{- end }}

{{/* A duration such as 1m 30s. */}}
{{- define "tracer.milliseconds" -}}
{{- $sum := int64 0 }}
{{- range regexFindAll "[0-9]+ *[a-z]+" . -1 }}
{{- $number := regexFind "[0-9]+" . | int64 }}
{{- $unit := regexFind "[a-z]+" . }}
{{- $factor := hasPrefix "d" $unit | ternary 86400000 (hasPrefix "h" $unit | ternary 3600000 (hasPrefix "s" $unit | ternary 1000 (hasPrefix "ms" $unit | ternary 1 60000))) }}
{{- $sum = add $sum (mul $number $factor) }}
{{- end }}
{{- $sum }}
{{- end }}
