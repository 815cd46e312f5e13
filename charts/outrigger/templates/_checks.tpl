{{/*
Combinations of values that make no sense. A schema could refuse them, but not say why.
*/}}
{{- define "outrigger.check" -}}
{{- $certificate := .Values.injector.certificate -}}
{{- if and (eq $certificate.mode "secret") (not $certificate.secretName) -}}
{{- fail "injector.certificate.mode is secret, but injector.certificate.secretName is empty: name the Secret that holds tls.crt and tls.key" -}}
{{- end -}}
{{- if and (eq $certificate.mode "secret") (not $certificate.caBundle) -}}
{{- fail "injector.certificate.mode is secret, but injector.certificate.caBundle is empty: the API server would trust no certificate; give the CA's PEM in base64" -}}
{{- end -}}
{{- if and (ne $certificate.mode "secret") $certificate.caBundle -}}
{{- fail (printf "injector.certificate.caBundle has no effect with injector.certificate.mode %s: remove it, or set mode to secret" $certificate.mode) -}}
{{- end -}}
{{- if and (ne $certificate.mode "cert-manager") $certificate.issuerRef -}}
{{- fail (printf "injector.certificate.issuerRef has no effect with injector.certificate.mode %s: remove it, or set mode to cert-manager" $certificate.mode) -}}
{{- end -}}
{{- if and .Values.sidecarInjectorWebhook.enableNamespacesByDefault (ne (include "outrigger.revision" .) "default") -}}
{{- fail (printf "sidecarInjectorWebhook.enableNamespacesByDefault belongs to the default revision; revision is %s" .Values.revision) -}}
{{- end -}}
{{- $templates := concat (list "sidecar" "gateway") (keys .Values.sidecarInjectorWebhook.templates) (keys .Values.sidecarInjectorWebhook.aliases) -}}
{{- range .Values.sidecarInjectorWebhook.defaultTemplates -}}
{{- if not (has . $templates) -}}
{{- fail (printf "sidecarInjectorWebhook.defaultTemplates names %s, which is neither sidecar nor gateway, nor under templates or aliases" .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.ingressGateway.enabled .Values.egressGateway.enabled (eq .Values.ingressGateway.name .Values.egressGateway.name) -}}
{{- fail (printf "ingressGateway.name and egressGateway.name are both %s" .Values.ingressGateway.name) -}}
{{- end -}}
{{- include "outrigger.check.gateway" (dict "key" "ingressGateway" "gateway" .Values.ingressGateway) -}}
{{- include "outrigger.check.gateway" (dict "key" "egressGateway" "gateway" .Values.egressGateway) -}}
{{- end -}}

{{- define "outrigger.check.gateway" -}}
{{- $scaling := .gateway.autoscaling -}}
{{- if and $scaling.enabled (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- fail (printf "%s.autoscaling.minReplicas is %d, above maxReplicas, which is %d" .key (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- end -}}
{{- $seen := dict -}}
{{- range $port := .gateway.service.ports -}}
{{- if hasKey $seen $port.name -}}
{{- fail (printf "%s.service.ports has two ports named %s" $.key $port.name) -}}
{{- end -}}
{{- $_ := set $seen $port.name true -}}
{{- if and $port.nodePort (eq $.gateway.service.type "ClusterIP") -}}
{{- fail (printf "%s.service.ports: port %s has a nodePort, which a Service of type ClusterIP does not have; set %s.service.type to NodePort" $.key $port.name $.key) -}}
{{- end -}}
{{- $target := int ($port.targetPort | default $port.port) -}}
{{- if has $target (list 15000 15001 15004 15006 15008 15020 15053 15090) -}}
{{- fail (printf "%s.service.ports: port %s would lead to %d, which the proxy keeps for itself" $.key $port.name $target) -}}
{{- end -}}
{{- end -}}
{{- end -}}
