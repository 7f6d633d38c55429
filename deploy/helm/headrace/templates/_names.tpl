{{- define "headrace.labels" -}}
app.kubernetes.io/name: headrace
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "headrace.image" -}}
{{ .Values.image }}:{{ .Values.tag | default .Chart.AppVersion }}
{{- end }}
{{- define "headrace.pod" -}}
securityContext:
  runAsNonRoot: true
  seccompProfile: {type: RuntimeDefault}
automountServiceAccountToken: false
# The variables that Kubernetes makes for services begin with HEADRACE_, as settings do.
enableServiceLinks: false
{{- end }}
{{- define "headrace.container" -}}
image: {{ include "headrace.image" . }}
envFrom:
  - secretRef: {name: {{ .Values.secret }}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}
