{{/* Names, labels and pieces that several templates share. */}}

{{/* The revision this release answers to; "default" is the one that istio-injection=enabled means. */}}
{{- define "outrigger.revision" -}}
{{- .Values.revision | default "default" -}}
{{- end -}}

{{/* Suffix of everything that exists once per revision, as istiod names it. */}}
{{- define "outrigger.suffix" -}}
{{- $revision := include "outrigger.revision" . -}}
{{- if ne $revision "default" }}-{{ $revision }}{{ end -}}
{{- end -}}

{{- define "outrigger.injector.name" -}}
outrigger-injector{{ include "outrigger.suffix" . }}
{{- end -}}

{{/* Name of the MutatingWebhookConfiguration: istiod's rule, so that one revision cannot be installed twice unnoticed. */}}
{{- define "outrigger.webhook.name" -}}
istio-sidecar-injector{{ include "outrigger.suffix" . }}
{{- if not (has .Release.Namespace (list "" "istio-system")) }}-{{ .Release.Namespace }}{{ end -}}
{{- end -}}

{{- define "outrigger.configmap.injector" -}}
istio-sidecar-injector{{ include "outrigger.suffix" . }}
{{- end -}}

{{- define "outrigger.configmap.mesh" -}}
istio{{ include "outrigger.suffix" . }}
{{- end -}}

{{/* Secret with the CA and the serving certificate. */}}
{{- define "outrigger.certificate.secret" -}}
{{- .Values.injector.certificate.secretName | default (printf "%s-certificate" (include "outrigger.injector.name" .)) -}}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "outrigger.labels" -}}
app.kubernetes.io/part-of: outrigger
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
istio.io/rev: {{ include "outrigger.revision" . | quote }}
{{- end -}}

{{/* What selects the injector's pods. Never changes within a release: a Deployment's selector is immutable. */}}
{{- define "outrigger.injector.selector" -}}
app: {{ include "outrigger.injector.name" . }}
app.kubernetes.io/name: outrigger-injector
{{- end -}}

{{/* The image of everything: whole name in global.proxy.image, else hub/image:tag. */}}
{{- define "outrigger.image" -}}
{{- $proxy := .Values.global.proxy -}}
{{- if contains "/" $proxy.image -}}
{{- $proxy.image -}}
{{- else -}}
{{- $hub := required "global.hub is not set: name the registry that your cluster pulls Outrigger's image from, for example --set global.hub=123456789012.dkr.ecr.eu-central-1.amazonaws.com (no public registry carries the image; docs/install-eks.md shows how to build and push it)" .Values.global.hub -}}
{{- printf "%s/%s:%s" $hub $proxy.image (.Values.global.tag | default .Chart.AppVersion | toString) -}}
{{- end -}}
{{- end -}}

{{- define "outrigger.pull" -}}
{{- with .Values.global.imagePullSecrets -}}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What Pod Security "restricted" asks of a container, and a root file system that cannot be written. */}}
{{- define "outrigger.container.security" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 1337
runAsGroup: 1337
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Replicas on different nodes if there are any, in different zones as evenly as possible. Never a reason not to start.
     Call with (dict "selector" TEXT). */}}
{{- define "outrigger.spread" -}}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- .selector | nindent 12 }}
topologySpreadConstraints:
- maxSkew: 1
  topologyKey: topology.kubernetes.io/zone
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- .selector | nindent 6 }}
{{- end -}}

{{/* The key `values` of the injector's ConfigMap: this chart's values as far as a pod shows them, under Istio's names. */}}
{{- define "outrigger.values" -}}
{{- $global := deepCopy .Values.global -}}
{{- $_ := set $global "tag" (.Values.global.tag | default .Chart.AppVersion | toString) -}}
{{- $_ := set $global "caAddress" (include "outrigger.discovery.address" .) -}}
{{- $_ := set $global.proxy "image" (include "outrigger.image" .) -}}
{{- $hook := pick .Values.sidecarInjectorWebhook "rewriteAppHTTPProbe" "enableNamespacesByDefault" -}}
{{- $values := dict "revision" (include "outrigger.revision" .) "global" $global "sidecarInjectorWebhook" $hook "pilot" (dict "env" .Values.pilot.env) -}}
{{- toPrettyJson $values -}}
{{- end -}}
