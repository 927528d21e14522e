"""How the process serves: uvicorn inside our own loop."""
