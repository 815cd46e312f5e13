{{/*
A gateway: the proxy as `router`, rendered as it runs, so that no webhook has to be there for it.
Call with (dict "root" . "gateway" VALUES "kind" "ingressgateway|egressgateway").
*/}}
{{- define "outrigger.gateway" -}}
{{- $root := .root }}
{{- $gateway := .gateway }}
{{- $selector := include "outrigger.gateway.selector" . }}
{{- $account := printf "%s-service-account" $gateway.name }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $account }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- $selector | nindent 4 }}
    {{- include "outrigger.labels" $root | nindent 4 }}
  {{- with $gateway.serviceAccountAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $gateway.name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- $selector | nindent 4 }}
    {{- include "outrigger.labels" $root | nindent 4 }}
spec:
  {{- if not $gateway.autoscaling.enabled }}
  replicas: {{ $gateway.replicas }}
  {{- end }}
  # A new pod is ready before an old one goes.
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: 100%
      maxUnavailable: 0
  selector:
    matchLabels:
      {{- $selector | nindent 6 }}
  template:
    metadata:
      labels:
        {{- $selector | nindent 8 }}
        app.kubernetes.io/part-of: outrigger
        app.kubernetes.io/instance: {{ $root.Release.Name }}
        istio.io/rev: {{ include "outrigger.revision" $root | quote }}
        service.istio.io/canonical-name: {{ $gateway.name }}
        service.istio.io/canonical-revision: latest
        sidecar.istio.io/inject: "false"
        {{- with $gateway.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        prometheus.io/scrape: "true"
        prometheus.io/port: "15020"
        prometheus.io/path: /stats/prometheus
        istio.io/rev: {{ include "outrigger.revision" $root | quote }}
        {{- with $gateway.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ $account }}
      automountServiceAccountToken: false
      {{- with include "outrigger.pull" $root }}
      {{- . | nindent 6 }}
      {{- end }}
      securityContext:
        # Ports below 1024 without a capability; one of the sysctls that Pod Security "restricted" allows.
        sysctls:
        - name: net.ipv4.ip_unprivileged_port_start
          value: "0"
        seccompProfile:
          type: RuntimeDefault
      terminationGracePeriodSeconds: {{ $gateway.terminationGracePeriodSeconds }}
      containers:
      - name: istio-proxy
        image: {{ include "outrigger.image" $root | quote }}
        {{- with $root.Values.global.imagePullPolicy }}
        imagePullPolicy: {{ . }}
        {{- end }}
        args:
        - proxy
        - router
        - --config
        - /etc/outrigger/config
        - --domain
        - $(POD_NAMESPACE).svc.{{ $root.Values.global.proxy.clusterDomain }}
        - --proxyLogLevel={{ $root.Values.global.proxy.logLevel }}
        - --proxyComponentLogLevel={{ $root.Values.global.proxy.componentLogLevel }}
        - --log_output_level={{ $root.Values.global.logging.level }}
        {{- if $root.Values.global.logAsJson }}
        - --log_as_json
        {{- end }}
        ports:
        {{- range $gateway.service.ports }}
        - name: {{ .name }}
          containerPort: {{ .targetPort | default .port }}
          protocol: {{ .protocol | default "TCP" }}
        {{- end }}
        - name: http-envoy-prom
          containerPort: 15090
          protocol: TCP
        env:
        - name: PILOT_CERT_PROVIDER
          value: istiod
        - name: CA_ADDR
          value: {{ include "outrigger.discovery.address" $root }}
        {{- range $name, $path := dict "POD_NAME" "metadata.name" "POD_NAMESPACE" "metadata.namespace" "INSTANCE_IP" "status.podIP" "HOST_IP" "status.hostIP" "SERVICE_ACCOUNT" "spec.serviceAccountName" "ISTIO_META_NODE_NAME" "spec.nodeName" }}
        - name: {{ $name }}
          valueFrom:
            fieldRef:
              apiVersion: v1
              fieldPath: {{ $path }}
        {{- end }}
        - name: ISTIO_CPU_LIMIT
          valueFrom:
            resourceFieldRef:
              resource: limits.cpu
              divisor: "1"
        - name: ISTIO_META_CLUSTER_ID
          value: {{ $root.Values.global.multiCluster.clusterName | quote }}
        - name: ISTIO_META_WORKLOAD_NAME
          value: {{ $gateway.name }}
        - name: ISTIO_META_OWNER
          value: kubernetes://apis/apps/v1/namespaces/{{ $root.Release.Namespace }}/deployments/{{ $gateway.name }}
        - name: ISTIO_META_MESH_ID
          value: {{ include "outrigger.mesh.id" $root | quote }}
        - name: TRUST_DOMAIN
          value: {{ include "outrigger.trust.domain" $root | quote }}
        {{- with $root.Values.global.network }}
        - name: ISTIO_META_NETWORK
          value: {{ . | quote }}
        {{- end }}
        {{- range $name, $value := $gateway.env }}
        - name: {{ $name }}
          value: {{ $value | quote }}
        {{- end }}
        startupProbe:
          httpGet:
            path: /healthz/ready
            port: 15021
          periodSeconds: 1
          timeoutSeconds: 3
          failureThreshold: 60
        readinessProbe:
          httpGet:
            path: /healthz/ready
            port: 15021
          periodSeconds: 5
          timeoutSeconds: 3
          failureThreshold: 3
        resources:
          {{- toYaml $gateway.resources | nindent 10 }}
        securityContext:
          {{- include "outrigger.container.security" $root | nindent 10 }}
        volumeMounts:
        - name: configuration
          mountPath: /etc/outrigger/config
          readOnly: true
        - name: mesh
          mountPath: /etc/istio/config
          readOnly: true
        - name: istio-podinfo
          mountPath: /etc/istio/pod
          readOnly: true
        - name: istio-envoy
          mountPath: /etc/istio/proxy
        - name: istio-data
          mountPath: /var/lib/istio/data
        - name: workload-socket
          mountPath: /var/run/secrets/workload-spiffe-uds
        - name: credential-socket
          mountPath: /var/run/secrets/credential-uds
        - name: workload-certs
          mountPath: /var/run/secrets/workload-spiffe-credentials
          {{- if $gateway.certificateSecret }}
          readOnly: true
          {{- end }}
        - name: istio-token
          mountPath: /var/run/secrets/tokens
          readOnly: true
        - name: istiod-ca-cert
          mountPath: /var/run/secrets/istio
          readOnly: true
      volumes:
      # Manifests the gateway serves, watched. Both are optional, so that the gateway starts before they are there.
      - name: configuration
        projected:
          sources:
          - configMap:
              name: {{ $gateway.configuration.configMap | default $gateway.name }}
              optional: true
          - secret:
              name: {{ $gateway.configuration.secret | default $gateway.name }}
              optional: true
      - name: mesh
        configMap:
          name: {{ include "outrigger.configmap.mesh" $root }}
          optional: true
      - name: istio-podinfo
        downwardAPI:
          items:
          - path: labels
            fieldRef:
              apiVersion: v1
              fieldPath: metadata.labels
          - path: annotations
            fieldRef:
              apiVersion: v1
              fieldPath: metadata.annotations
      - name: istio-envoy
        emptyDir:
          medium: Memory
      - name: istio-data
        emptyDir: {}
      - name: workload-socket
        emptyDir: {}
      - name: credential-socket
        emptyDir: {}
      - name: workload-certs
        {{- with $gateway.certificateSecret }}
        secret:
          secretName: {{ . }}
        {{- else }}
        emptyDir: {}
        {{- end }}
      - name: istio-token
        projected:
          sources:
          - serviceAccountToken:
              path: istio-token
              audience: istio-ca
              expirationSeconds: 43200
      - name: istiod-ca-cert
        configMap:
          name: istio-ca-root-cert
          optional: true
      {{- with $gateway.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $gateway.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $gateway.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- include "outrigger.spread" (dict "selector" $selector) | nindent 6 }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $gateway.name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- $selector | nindent 4 }}
    {{- include "outrigger.labels" $root | nindent 4 }}
  {{- with $gateway.service.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ $gateway.service.type }}
  {{- with $gateway.service.externalTrafficPolicy }}
  externalTrafficPolicy: {{ . }}
  {{- end }}
  {{- with $gateway.service.loadBalancerClass }}
  loadBalancerClass: {{ . }}
  {{- end }}
  {{- with $gateway.service.loadBalancerSourceRanges }}
  loadBalancerSourceRanges:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  selector:
    {{- $selector | nindent 4 }}
  ports:
  {{- range $gateway.service.ports }}
  - name: {{ .name }}
    port: {{ .port }}
    targetPort: {{ .targetPort | default .port }}
    protocol: {{ .protocol | default "TCP" }}
    {{- with .nodePort }}
    nodePort: {{ . }}
    {{- end }}
  {{- end }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $gateway.name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- $selector | nindent 4 }}
    {{- include "outrigger.labels" $root | nindent 4 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- $selector | nindent 6 }}
{{- if $gateway.autoscaling.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ $gateway.name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- $selector | nindent 4 }}
    {{- include "outrigger.labels" $root | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ $gateway.name }}
  minReplicas: {{ $gateway.autoscaling.minReplicas }}
  maxReplicas: {{ $gateway.autoscaling.maxReplicas }}
  metrics:
  - type: Resource
    resource:
      name: cpu
      target:
        type: Utilization
        averageUtilization: {{ $gateway.autoscaling.targetCPUUtilizationPercentage }}
{{- end }}
{{- end -}}

{{/* What Gateway objects select: app: istio-ingressgateway, istio: ingressgateway. */}}
{{- define "outrigger.gateway.selector" -}}
app: {{ .gateway.name }}
istio: {{ trimPrefix "istio-" .gateway.name }}
{{- end -}}

{{- define "outrigger.discovery.address" -}}
{{- $address := dig "defaultConfig" "discoveryAddress" "" .Values.meshConfig -}}
{{- $address | default (printf "istiod%s.%s.svc:15012" (include "outrigger.suffix" .) .Values.global.istioNamespace) -}}
{{- end -}}

{{- define "outrigger.trust.domain" -}}
{{- .Values.meshConfig.trustDomain | default "cluster.local" -}}
{{- end -}}

{{- define "outrigger.mesh.id" -}}
{{- .Values.global.meshID | default (include "outrigger.trust.domain" .) -}}
{{- end -}}
