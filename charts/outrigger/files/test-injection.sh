# Runs in the pod of `helm test`. Asks twelve times at most, because a namespace and a caBundle take a moment to be seen.
pod='{"apiVersion":"v1","kind":"Pod","metadata":{"name":"probe","labels":{"app":"probe"}},
  "spec":{"containers":[{"name":"app","image":"example.com/never-pulled:1"}]}}'
url="https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/api/v1/namespaces/$NAMESPACE/pods?dryRun=All"
token=$(cat "$CREDENTIALS/token")
attempt=1
while [ "$attempt" -le 12 ]; do
  answer=$(printf 'header = "Authorization: Bearer %s"\n' "$token" |
    curl --silent --show-error --max-time 15 --config - --cacert "$CREDENTIALS/ca.crt" \
      --header 'Content-Type: application/json' --data "$pod" "$url" 2>&1)
  case "$answer" in
    *'"sidecar.istio.io/status"'*)
      echo "A pod created in namespace $NAMESPACE gets a proxy."
      exit 0 ;;
  esac
  echo "attempt $attempt: no proxy in the answer"
  attempt=$((attempt + 1))
  sleep "${PAUSE:-5}"
done
echo "The last answer of the API server was:"
echo "$answer"
exit 1
