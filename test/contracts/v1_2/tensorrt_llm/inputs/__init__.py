"""tensorrt_llm/inputs."""
