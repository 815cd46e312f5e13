# The image for every role: proxy, init step, injector. Built from a checkout: docker build -t outrigger .
#
# The last stage is empty but for what `make image-rootfs` lays out: one static executable under its names, the init step's
# iptables and nft with their libraries, CA certificates, users. Runs as uid 1337 with a read-only root, as uid 0 and gid 1337
# for interception mode TPROXY, as uid 0 for the init step, and as any uid where the platform chooses one.

FROM rust:1.95-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends binutils ca-certificates iptables nftables \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# An outrigger.profdata that `make pgo` wrote for this architecture, copied into the checkout; none is fine, and slower.
ARG PROFILE=
RUN make image-rootfs IMAGE_ROOT=/rootfs PROFILE="$PROFILE"

FROM scratch
COPY --from=build /rootfs/ /
ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin
WORKDIR /
USER 1337:1337
# Pod templates give arguments and no command, and hooks call pilot-agent by name.
ENTRYPOINT ["/usr/local/bin/pilot-agent"]
