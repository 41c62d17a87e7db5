from .ast import AST as AST, ASTConfig as ASTConfig
from .vggish import VGGish as VGGish, VGGishConfig as VGGishConfig
