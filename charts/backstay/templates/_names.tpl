{{- define "backstay.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "backstay.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "backstay.name" .) -}}
{{- end -}}

{{- define "backstay.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "backstay.labels" -}}
{{ include "backstay.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The release's own namespace first, then the others, each once. */}}
{{- define "backstay.namespaces" -}}
{{- concat (list .Release.Namespace) .Values.watch.namespaces | uniq | join "," -}}
{{- end -}}

{{/* What the operator may do where it watches: least privilege, and no list of Secrets. */}}
{{- define "backstay.rules" -}}
- apiGroups: [backstay.dev]
  resources: [sites, protectionpolicies, replicationpairs]
  verbs: [get, list, watch]
- apiGroups: [backstay.dev]
  resources: [sites/status, protectionpolicies/status, replicationpairs/status]
  verbs: [patch]
# Finalizers, which only ReplicationPairs have.
- apiGroups: [backstay.dev]
  resources: [replicationpairs]
  verbs: [patch]
# By the names in spec.ssh.secretRef; nobody can know them here.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}
