#!/usr/bin/env bash
# Prints what a gateway exports after a request to a service and a TCP connection. Runs in a network namespace of its own.
# usage: gateway.sh PROGRAM FOLDER
set -euo pipefail
program=$1 folder=$2
ip link set lo up
mkdir -p "$folder/config" "$folder/pod"
printf 'istio="ingressgateway"\n' >"$folder/pod/labels"
cat >"$folder/config/mesh.yaml" <<'YAML'
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}
  - {port: {number: 8000, name: tcp, protocol: TCP}, hosts: ['*']}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge, namespace: shop}
spec:
  hosts: ['*']
  gateways: [edge]
  http:
  - route: [{destination: {host: web.example.com, port: {number: 80}}}]
  tcp:
  - route: [{destination: {host: web.example.com, port: {number: 8080}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web, namespace: shop}
spec:
  hosts: [web.example.com]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports:
  - {number: 80, name: http, protocol: HTTP, targetPort: 15021}
  - {number: 8080, name: tcp, protocol: TCP, targetPort: 15021}
  endpoints: [{address: 127.0.0.1}]
YAML
export POD_NAME=gateway-1 POD_NAMESPACE=istio-system INSTANCE_IP=127.0.0.1
"$program" proxy router --config "$folder/config" --pod-info "$folder/pod" >"$folder/log" 2>&1 &
proxy=$!
trap 'kill -9 $proxy; cat "$folder/log" >&2' EXIT
get() { curl --silent --show-error --fail --max-time 5 --output /dev/null "$@"; }
get --retry 50 --retry-delay 1 --retry-max-time 20 --retry-connrefused http://127.0.0.1:15021/healthz/ready
get http://127.0.0.1/healthz/ready
get http://127.0.0.1:8000/healthz/ready
curl --silent --fail --max-time 5 http://127.0.0.1:15020/stats/prometheus
