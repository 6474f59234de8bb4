"""The gateway's container or process. Nothing in it depends on the profile, so that it outlives a change of model."""

from pmpctl.errors import PlanInvalid
from pmpctl.planning.context import ENGINE_ALIAS, Context
from pmpctl.planning.listen import Listener
from pmpctl.planning.plan import HealthCheck, Mount, PortBinding, Unit

GATEWAY_PORT = 8000
CONTROL_DIR = "/run/pmp-gateway"
CONTROL_SOCKET = "gateway.sock"
STATE_FILE = "state.json"
AUTH_DIR = "/etc/pmp-gateway"
NOBODY = 65532


def user_in_container(uid: int, gid: int) -> tuple[int, int]:
    """Who the gateway's container runs as, in a workspace that belongs to this user: never root."""
    return (uid, gid) if uid else (NOBODY, NOBODY)


def gateway_unit(context: Context, listener: Listener) -> Unit:
    workspace, settings, facts = context.workspace, context.gateway, context.facts
    auth_file = workspace.root / settings.auth_config
    env = {
        "PYTHONUNBUFFERED": "1",
        "PMP_GATEWAY_UNKNOWN_MODEL": settings.unknown_model,
        "PMP_GATEWAY_LOG_HEADERS": ",".join(settings.log_headers),
        "PMP_GATEWAY_PUBLIC_METRICS": "1" if settings.metrics else "0",
        "PMP_GATEWAY_CORS_ORIGINS": ",".join(settings.cors_origins),
        "PMP_GATEWAY_ALLOWED_HOSTS": ",".join(settings.allowed_hosts),
        "PMP_GATEWAY_MAX_BODY_BYTES": str(settings.max_body_mib * 1024**2),
        "PMP_GATEWAY_REQUESTS_PER_MINUTE": str(settings.requests_per_minute),
        "PMP_GATEWAY_MAX_CONCURRENT": str(settings.max_concurrent),
        "PMP_GATEWAY_HOLD_MAX_REQUESTS": str(settings.hold_max_requests),
        "PMP_GATEWAY_HOLD_MAX_BYTES": str(settings.hold_max_mib * 1024**2),
        "PMP_GATEWAY_HOLD_TIMEOUT_SECONDS": str(settings.hold_timeout_seconds),
        "PMP_GATEWAY_KEEP_ALIVE_SECONDS": str(settings.keep_alive_seconds),
        "PMP_GATEWAY_ENGINE_WAIT_SECONDS": str(settings.engine_wait_seconds),
    }
    if not context.in_docker:
        return Unit(
            role="gateway",
            name="gateway",
            image="",
            argv=(str(facts.python), "-m", "pmp_gateway"),
            env=env
            | {
                "BACKEND_URL": f"http://127.0.0.1:{context.host.engine_port}",
                "AUTH_CONFIG_PATH": str(auth_file),
                "PMP_GATEWAY_HOST": listener.host,
                "PMP_GATEWAY_PORT": str(listener.port),
                "PMP_GATEWAY_CONTROL_SOCKET": str(workspace.control_dir / CONTROL_SOCKET),
                "PMP_GATEWAY_STATE_FILE": str(workspace.control_dir / STATE_FILE),
            },
            labels={},
            health_url=f"{listener.url}/health",
            ports=(PortBinding(listener.host, listener.port, listener.port),),
        )
    if auth_file.parent == workspace.root:
        raise PlanInvalid(
            f"[gateway] auth_config = {settings.auth_config!r} lies in the workspace's own folder, "
            "and the gateway would be handed all of that folder",
            cure='Put the token file into a folder of its own, such as auth_config = "config/auth.json".',
        )
    user = user_in_container(facts.uid, facts.gid)
    return Unit(
        role="gateway",
        name=f"pmpctl-{workspace.id}-gateway",
        image=settings.image or facts.gateway_image,
        build=None if settings.image else facts.gateway_build,
        argv=("/opt/gateway/bin/python", "-m", "pmp_gateway"),
        env=env
        | {
            "BACKEND_URL": f"http://{ENGINE_ALIAS}:{context.host.engine_port}",
            "AUTH_CONFIG_PATH": f"{AUTH_DIR}/{auth_file.name}",
            "PMP_GATEWAY_HOST": "0.0.0.0",  # noqa: S104 (inside its own network namespace)
            "PMP_GATEWAY_PORT": str(GATEWAY_PORT),
            "PMP_GATEWAY_CONTROL_SOCKET": f"{CONTROL_DIR}/{CONTROL_SOCKET}",
            "PMP_GATEWAY_STATE_FILE": f"{CONTROL_DIR}/{STATE_FILE}",
        },
        labels={},
        health_url=f"{listener.url}/health",
        mounts=(
            Mount("bind", str(workspace.control_dir), CONTROL_DIR),
            Mount("bind", str(auth_file.parent), AUTH_DIR, read_only=True),
            Mount("tmpfs", "", "/tmp", size_bytes=16 * 1024**2),  # noqa: S108 (a tmpfs of its own)
        ),
        ports=(PortBinding(listener.host, listener.port, GATEWAY_PORT),),
        network=context.network,
        network_alias="gateway",
        # After a crash of its own, Docker takes what is `unless-stopped` for stopped by hand.
        restart="always",
        user=f"{user[0]}:{user[1]}",
        read_only=True,
        pids_limit=256,
        health=HealthCheck(
            argv=(
                "/opt/gateway/bin/python",
                "-c",
                f"import urllib.request as u; u.urlopen('http://127.0.0.1:{GATEWAY_PORT}/health', timeout=3)",
            ),
            interval_seconds=15,
            timeout_seconds=5,
            retries=3,
            start_period_seconds=20,
        ),
    )
