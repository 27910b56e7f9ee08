"""The gateway: any strategy behind the OpenAI API, in front of any OpenAI-compatible server."""
