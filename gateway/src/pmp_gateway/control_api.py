"""The control API: what operators may ask and tell the gateway, over its unix socket only."""

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from pmp_gateway import __version__
from pmp_gateway.auth import Tokens
from pmp_gateway.control_schema import VERBS, AuthStatus, BackendStatus, ControlAnswer, GatewayStatus
from pmp_gateway.engine_probe import served_models
from pmp_gateway.metrics import Metrics, Now
from pmp_gateway.metrics_page import MetricsPage
from pmp_gateway.models import Models
from pmp_gateway.phase_api import PhaseApi
from pmp_gateway.state import GatewayState
from pmp_gateway.token_file import TokenFileInvalid


def control_api(
    state: GatewayState, tokens: Tokens, models: Models, backend_url: str, metrics: Metrics | None = None
) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    MetricsPage(metrics or Metrics(lambda: Now(state.phase, state.in_flight, state.held))).mount(app)
    PhaseApi(state, models).mount(app)

    def auth_status() -> AuthStatus:
        return AuthStatus(enabled=tokens.count > 0, tokens=tokens.count)

    async def backend_status() -> BackendStatus:
        served = await served_models(models)
        return BackendStatus(backend_url, ready=served is not None, models=served or ())

    @app.get(VERBS["status"].path)
    async def status() -> JSONResponse:
        answer = GatewayStatus(
            version=__version__,
            phase=state.phase,
            in_flight=state.in_flight,
            held=state.held,
            requests_total=state.requests_total,
            backend=await backend_status(),
            auth=auth_status(),
            uptime_seconds=state.uptime_seconds,
            door=state.door(),
        )
        return JSONResponse(answer.as_data())

    @app.post(VERBS["reload"].path)
    async def reload() -> JSONResponse:
        try:
            tokens.reload()
        except TokenFileInvalid as error:
            return JSONResponse(ControlAnswer(False, str(error), auth_status()).as_data(), status_code=409)
        return JSONResponse(ControlAnswer(True, "tokens read again", auth_status()).as_data())

    return app
