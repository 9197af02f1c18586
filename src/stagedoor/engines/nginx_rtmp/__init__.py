"""nginx with the RTMP module: its notify hooks, and `auth_request` for its HLS output."""
